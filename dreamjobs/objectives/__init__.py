"""What a dream makes larger, as an expression over a net's activations. Tensors are met only in `objectives.terms`."""

from dreamjobs.objectives.grammar import Objective, Term, files, parse

__all__ = ["Objective", "Term", "files", "parse"]
