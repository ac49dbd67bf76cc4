"""The papers that claims and formulas point to, by key."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PAPERS", "Paper"]


@dataclass(frozen=True)
class Paper:
    """A paper: the prefix of its claim ids, who wrote it, where to find it."""

    key: str
    prefix: str
    title: str
    authors: str
    venue: str
    arxiv: str

    @property
    def url(self) -> str:
        """The paper's page."""
        return f"https://arxiv.org/abs/{self.arxiv}"

    def __str__(self) -> str:
        return f"{self.authors}, {self.title}, {self.venue}, arXiv:{self.arxiv}"


PAPERS: dict[str, Paper] = {
    paper.key: paper
    for paper in (
        Paper("intrinsic_lr", "ILR", "Reconciling Modern Deep Learning with Traditional Optimization Analyses: "
              "The Intrinsic Learning Rate", "Z. Li, K. Lyu, S. Arora", "NeurIPS 2020", "2010.02916"),
        Paper("exp_lr", "EXP", "An Exponential Learning Rate Schedule for Deep Learning",
              "Z. Li, S. Arora", "ICLR 2020", "1910.07454"),
        Paper("catapult", "CAT", "The large learning rate phase of deep learning: the catapult mechanism",
              "A. Lewkowycz, Y. Bahri, E. Dyer, J. Sohl-Dickstein, G. Gur-Ari", "2020", "2003.02218"),
        Paper("svag", "SVAG", "On the Validity of Modeling SGD with Stochastic Differential Equations",
              "Z. Li, S. Malladi, S. Arora", "NeurIPS 2021", "2102.12470"),
    )
}
