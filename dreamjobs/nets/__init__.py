"""Nets by name: loaded, cut after the deepest layer used, folded, frozen; and what a layer sees."""

from dreamjobs.nets.load import fetch_weights, known_nets, read_file
from dreamjobs.nets.net import LayerInfo, Net, load_net
from dreamjobs.nets.reader import Reader
from dreamjobs.weights import Weights

__all__ = ["LayerInfo", "Net", "Reader", "Weights", "fetch_weights", "known_nets", "load_net", "read_file"]
