"""A net of three small layers with seeded weights: untrained, for tests and for trying the plumbing."""

from torch import Tensor, nn


class Tiny(nn.Module):
    """Layers `edges` (8 channels, stride 1), `parts` (12, stride 2) and `things` (16, stride 4), then 10 logits."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU())
        self.parts = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(12), nn.ReLU())
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.things = nn.Sequential(nn.Conv2d(12, 16, 3, padding=1), nn.ReLU())
        self.logits = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) normalised pixels -> (N, 10) logits."""
        x = self.things(self.pool(self.parts(self.edges(x))))
        logits: Tensor = self.logits(x.mean((2, 3)))
        return logits
