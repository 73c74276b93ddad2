"""What every other package leans on: errors, checks of arguments, files, and what is printed."""
