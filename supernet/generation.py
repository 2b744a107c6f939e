"""Texts that a network in evaluation mode generates, token by token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
import torch

from edge_bench.records import TextInput
from edge_bench.text.encoding import padded
from supernet.models import TextNetwork

BATCH = 100


@torch.inference_mode()
def translated(network, rows, text):
    order = np.argsort([len(row) for row in rows], kind="stable")
    told = [[] for _ in rows]
    reader, stepper = network.reader(), network.stepper()
    space = network.space
    for start in range(0, len(order), BATCH):
        chosen = order[start:start+BATCH]
        source = torch.from_numpy(padded([rows[r] for r in chosen], text.pad))
        memory = reader(source)["memory"]
        n = len(chosen)
        room = text.length
        cache = torch.zeros(space.decoder_layers, 2, n, space.heads, room, space.width//space.heads)
        token = torch.full((n,1), text.begin)
        done = np.zeros(n, bool)
        for position in range(room-1):
            out = stepper(token, torch.tensor([position]), cache[:,:,:,:,:max(position,1)], memory, source)
            cache[:,:,:,:,position:position+1] = out["new_cache"]
            nxt = out["logits"].argmax(1)
            for i, t in enumerate(nxt.tolist()):
                if not done[i]:
                    if t == text.end: done[i] = True
                    else: told[chosen[i]].append(t)
            if done.all(): break
            token = nxt[:,None]
    return told
