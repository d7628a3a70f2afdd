"""Go once more, from the rules alone: sets of points, whole copies, no shortcuts.

Slow on purpose, and independent of `fitwell.data`: the tests hold the two against each other.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache

Point = tuple[int, int]


class TooLong(Exception):
    """A ladder search that nobody wants to wait for."""


@lru_cache
def points(size: int) -> frozenset[Point]:
    return frozenset((r, c) for r in range(size) for c in range(size))


@cache
def beside(size: int, point: Point) -> frozenset[Point]:
    return frozenset(
        other for other in points(size) if abs(other[0] - point[0]) + abs(other[1] - point[1]) == 1
    )


@dataclass(frozen=True)
class Position:
    size: int
    stones: dict[Point, str] = field(default_factory=dict)
    born: dict[Point, int] = field(default_factory=dict)
    turn: str = "black"
    count: int = 0
    before: frozenset[tuple[Point, str]] | None = None  # the stones one move ago

    def beside(self, point: Point) -> frozenset[Point]:
        return beside(self.size, point)

    def points(self) -> frozenset[Point]:
        return points(self.size)

    def group(self, point: Point) -> set[Point]:
        found = {point}
        while True:
            more = {
                other
                for one in found
                for other in self.beside(one)
                if self.stones.get(other) == self.stones[point]
            } - found
            if not more:
                return found
            found |= more

    def liberties(self, point: Point) -> set[Point]:
        around = {other for one in self.group(point) for other in self.beside(one)}
        return {other for other in around if other not in self.stones}

    def after(self, point: Point | None) -> Position | None:
        """Give the position after a move; None if it is illegal."""
        other = "white" if self.turn == "black" else "black"
        stones, born = dict(self.stones), dict(self.born)
        if point is not None:
            if point in stones:
                return None
            stones[point], born[point] = self.turn, self.count + 1
            trial = replace(self, stones=stones)
            dead = {
                one for one, color in stones.items() if color == other and not trial.liberties(one)
            }
            stones = {one: color for one, color in stones.items() if one not in dead}
            if not replace(self, stones=stones).liberties(point):
                return None
            # Ko, as it is meant: the move before must not be undone at once.
            if self.before is not None and frozenset(stones.items()) == self.before:
                return None
        now = frozenset(self.stones.items())
        return Position(self.size, stones, born, other, self.count + 1, now)

    def captured(self, point: Point) -> set[Point]:
        after = self.after(point)
        return set() if after is None else set(self.stones) - set(after.stones)


def random_game(size: int, moves: int, seed: int) -> list[Point]:
    """Draw legal moves; a move that fills one point between own stones is rare."""
    draws = random.Random(seed)
    position, played = Position(size), []
    for _ in range(moves):
        free = sorted(position.points() - set(position.stones))
        draws.shuffle(free)
        for point in free:
            colors = {position.stones.get(other) for other in position.beside(point)}
            if colors == {position.turn} and draws.random() < 0.9:
                continue
            after = position.after(point)
            if after is not None:
                position = after
                played.append(point)
                break
        else:
            break
    return played


def is_eye(position: Position, point: Point, color: str, asked: list[Point]) -> bool:
    if point in position.stones:
        return False
    if any(position.stones.get(other) != color for other in position.beside(point)):
        return False
    corners = {(point[0] + r, point[1] + c) for r in (-1, 1) for c in (-1, 1)} & position.points()
    bad = 0
    for corner in corners:
        owner = position.stones.get(corner)
        if owner is None:
            lost = corner not in asked and not is_eye(position, corner, color, [*asked, point])
        else:
            lost = owner != color
        bad += lost
    return bad == 0 or (bad == 1 and len(position.beside(point)) == 4)


def caught(position: Position, point: Point, prey: Point, fuel: list[int]) -> bool:
    """The hunter, whose turn it is, plays at a group with two liberties."""
    fuel[0] -= 1
    if fuel[0] < 0:
        raise TooLong
    after = position.after(point)
    if after is None:
        return False
    ways = after.liberties(prey)
    for stone in after.group(prey):
        for other in after.beside(stone):
            if after.stones.get(other) == position.turn and len(after.liberties(other)) == 1:
                ways |= after.liberties(other)
    return not any(fled(after, way, prey, fuel) for way in ways)


def fled(position: Position, point: Point, prey: Point, fuel: list[int]) -> bool:
    """The prey, whose turn it is and which has one liberty, plays there or captures."""
    fuel[0] -= 1
    if fuel[0] < 0:
        raise TooLong
    after = position.after(point)
    if after is None:
        return False
    liberties = after.liberties(prey)
    if len(liberties) == 2:
        return not any(caught(after, way, prey, fuel) for way in liberties)
    return len(liberties) > 2


def planes(position: Position, fuel: int = 2_000) -> set[tuple[str, Point]]:
    """Say which planes hold a one at which points, by the names of `GO_PLANES`."""

    def limited(title: str, value: int, last: int) -> str:
        return f"{title} {value}" if value < last else f"{title} {last} or more"

    ones: set[tuple[str, Point]] = set()
    me = position.turn
    for point in position.points():
        ones.add(("ones", point))
        color = position.stones.get(point)
        if color is None:
            ones.add(("empty", point))
            continue
        ones.add(("own stone" if color == me else "opponent's stone", point))
        age = position.count - position.born.get(point, 0)
        ones.add((limited("turns since:", age, 7), point))
        ones.add((limited("liberties:", len(position.liberties(point)), 8), point))
    for point in position.points():
        after = position.after(point)
        if after is None:
            continue
        captured = len(position.captured(point))
        ones.add((limited("stones captured:", captured, 7), point))
        liberties = len(after.liberties(point))
        ones.add((limited("liberties after the move:", liberties, 8), point))
        if liberties == 1:
            size = len(after.group(point))
            ones.add((limited("own stones put into atari:", size, 8), point))
        for other in position.beside(point) & set(position.stones):
            free = len(position.liberties(other))
            if (
                position.stones[other] != me
                and free == 2
                and caught(position, point, other, [fuel])
            ):
                ones.add(("ladder capture", point))
            if position.stones[other] == me and free == 1 and fled(position, point, other, [fuel]):
                ones.add(("ladder escape", point))
        if not is_eye(position, point, me, []):
            ones.add(("sensible", point))
    return ones
