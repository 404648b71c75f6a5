"""The LSTM: word pieces, a stack of bidirectional LSTMs, one token output, one output a label."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moderation.training.recipe import LstmModel

MASKED = -1e4


class Direction(nn.Module):
    """One direction of one layer. The backward one reads every row from its own last token."""

    def __init__(self, width: int, hidden: int, *, backward: bool) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, hidden, batch_first=True)
        self.backwards = backward
        with torch.no_grad():
            # A forget gate that starts open (Jozefowicz et al. 2015) learns long texts sooner.
            dict(self.lstm.named_parameters())["bias_ih_l0"][hidden : 2 * hidden].fill_(1.0)

    def forward(self, values: Tensor, reverse: Tensor) -> Tensor:
        """`values` [batch, tokens, width]; `reverse` [batch, tokens], places read backwards."""
        if not self.backwards:
            return self.lstm(values)[0]  # type: ignore[no-any-return]
        turned = values.gather(1, reverse[..., None].expand(-1, -1, values.shape[-1]))
        result: Tensor = self.lstm(turned)[0]
        return result.gather(1, reverse[..., None].expand(-1, -1, result.shape[-1]))


class LstmNetwork(nn.Module):
    """Outputs are logits; nothing in them depends on the padding of a batch.

    Packed sequences would say the same, at a third of the speed on a CPU: padding after the end of
    a row cannot reach its states, and pooling masks it.

    A text is pooled by attention (several heads, each one weight a token) and by the maximum over
    its tokens: the first can learn to ignore a quoted insult, the second finds one bad word in a
    long text.
    """

    def __init__(self, model: LstmModel, vocabulary: int, labels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, model.embedding)
        self.layers = nn.ModuleList()
        width = model.embedding
        for hidden in model.hidden:
            self.layers.append(
                nn.ModuleList(
                    [
                        Direction(width, hidden, backward=False),
                        Direction(width, hidden, backward=True),
                    ]
                )
            )
            width = 2 * hidden
        states = 2 * sum(model.hidden)
        self.token = nn.Linear(states, 1)
        self.attention = nn.Linear(states, model.attention)
        self.dense = nn.Linear(states * (model.attention + 1), model.dense)
        self.output = nn.Linear(model.dense, labels)
        self.dropout = nn.Dropout(model.dropout)
        self.embedding_dropout = model.embedding_dropout

    def directions(self) -> list[tuple[Direction, Direction]]:
        """The layers, each as its forward and its backward direction."""
        return [tuple(layer) for layer in self.layers]  # type: ignore[misc, arg-type]

    def forward(self, ids: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """`ids` [batch, tokens], `lengths` [batch] → [batch, labels], [batch, tokens]."""
        places = torch.arange(ids.shape[1], device=ids.device)[None]
        inside = places < lengths[:, None]
        reverse = torch.where(inside, lengths[:, None] - 1 - places, places)
        values = self.embedding(ids)
        if self.training and self.embedding_dropout:
            # One mask for all tokens of a row (Gal and Ghahramani 2016).
            mask = torch.empty_like(values[:, :1]).bernoulli_(1 - self.embedding_dropout)
            values = values * (mask / (1 - self.embedding_dropout))
        outputs = []
        for layer in self.directions():
            values = torch.cat([direction(values, reverse) for direction in layer], dim=-1)
            outputs.append(values)
            values = self.dropout(values)
        states = self.dropout(torch.cat(outputs, dim=-1))
        outside = torch.where(inside, 0.0, MASKED)[..., None]
        weights = torch.softmax(self.attention(states) + outside, dim=1)
        attended = torch.einsum("btm,btd->bmd", weights, states).flatten(1)
        highest = (states + outside).amax(dim=1)
        pooled = torch.relu(self.dense(self.dropout(torch.cat([attended, highest], dim=1))))
        return self.output(self.dropout(pooled)), self.token(states)[..., 0]
