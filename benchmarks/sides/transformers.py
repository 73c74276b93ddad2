"""A plain loop on transformers: one text at a time, the whole model, all hidden states."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.pace import Pace, resident_bytes
from benchmarks.work import Work, language_model, text


def run(work: Work) -> None:
    """Invert one text as a short script would."""
    extractor = language_model()
    model: Any = extractor.network.get_submodule("model").to(work.device)
    hidden = list(extractor.layers).index(work.layer)
    table = model.get_input_embeddings().weight
    ids = text(work, extractor).unsqueeze(0).to(work.device)
    base = resident_bytes()
    logits = nn.Parameter(0.01 * torch.randn(1, ids.shape[1], len(table), device=work.device))
    optimizer = torch.optim.AdamW([logits], lr=0.1)

    def feature(embeddings: Tensor) -> Tensor:
        states: Tensor = model(inputs_embeds=embeddings, output_hidden_states=True).hidden_states[hidden]
        return states

    with torch.no_grad():
        target = feature(table[ids])
    pace = Pace(1, work.device, base_bytes=base, vocabulary=len(table))
    while True:
        pace()
        optimizer.zero_grad()
        found = feature(logits.softmax(-1) @ table)
        loss = F.mse_loss(found, target) + (1 - F.cosine_similarity(found, target, dim=-1)).mean()
        torch.autograd.backward(loss)
        optimizer.step()
