"""Learning of dictionaries: sparse autoencoders and alternating sparse coding, on the features of a layer."""

from readout.learning.activations import Activations
from readout.learning.alternating import AlternatingLearner
from readout.learning.learn import learn
from readout.learning.learned import Learned
from readout.learning.learner import DictionaryLearner
from readout.learning.sparse_autoencoder import SparseAutoencoder

__all__ = ["Activations", "AlternatingLearner", "DictionaryLearner", "Learned", "SparseAutoencoder", "learn"]
