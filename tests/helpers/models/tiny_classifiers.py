"""Tiny image classifiers and a tiny sentence encoder with random weights, saved as the large ones are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from tiny_captioners import word_piece_tokenizer
from transformers import (
    BertConfig,
    BertModel,
    ConvNextImageProcessor,
    ResNetConfig,
    ResNetForImageClassification,
)

SIDE = 64
"""pixels"""
ARCHITECTURE = "test_efficientnet"
"""timm's smallest, for tests"""
THINGS = ("tench, Tinca tinca", "red fox, Vulpes vulpes", "wardrobe, closet, press", "widget_of_ours")


def timm_network(classes: int = 1000) -> Any:
    torch.manual_seed(0)
    return timm.create_model(ARCHITECTURE, num_classes=classes).eval()


def save_tiny_timm(directory: Path) -> Path:
    """As timm writes to the hub, with ImageNet's classes."""
    network = timm_network()
    directory.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), directory / "model.safetensors")
    told = {
        "input_size": [3, SIDE, SIDE],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "mean": [0.5] * 3,
        "std": [0.25] * 3,
    }
    config = {
        "architecture": ARCHITECTURE,
        "num_classes": 1000,
        "num_features": network.num_features,
        "pretrained_cfg": told,
    }
    (directory / "config.json").write_text(json.dumps(config))
    return directory


def save_tiny_resnet(directory: Path) -> Path:
    """A classifier of transformers that names its own classes."""
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 16],
        depths=[1, 1],
        id2label=dict(enumerate(THINGS)),
        layer_type="basic",
    )
    ResNetForImageClassification(config).eval().save_pretrained(directory)
    ConvNextImageProcessor(size={"shortest_edge": SIDE}, crop_pct=0.9).save_pretrained(directory)
    return directory


def save_tiny_sentences(directory: Path) -> Path:
    """As all-MiniLM-L6-v2: BERT, of which the mean of all tokens is taken."""
    torch.manual_seed(0)
    tokenizer = word_piece_tokenizer()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    BertModel(config).eval().save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
