"""Distributed batch DeepDream."""
