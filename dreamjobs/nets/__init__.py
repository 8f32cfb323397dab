"""Nets by name: loaded, cut after the deepest layer used, folded, frozen; and what a layer sees."""

from dreamjobs.nets.load import fetch_weights, known_nets, read_file
from dreamjobs.nets.reader import LayerInfo, Net, Reader, load_net
from dreamjobs.weights import Weights

__all__ = ["LayerInfo", "Net", "Reader", "Weights", "fetch_weights", "known_nets", "load_net", "read_file"]
