"""All scores of masks against truth, gathered image by image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from amg_cli.core.mask import Mask
from amg_cli.evaluate.one_prompt import PromptedSegment, PromptKind, prompt_scores
from amg_cli.evaluate.partitions import Labels, PartitionScores, flatten, score_partition
from amg_cli.evaluate.recall import RecallTally
from amg_cli.evaluate.segments import ImageSegments, SegmentsTally, mean, measure_segments
from amg_cli.evaluate.truth import TrueImage

Scores = dict[str, dict[str, float]]  # by group, by name


@dataclass
class SegmentQuality:
    """Masks against true segments. Each image is added once, and kept as a few numbers.

    recall: of all segments; things, stuff: of those alone, where the truth tells them apart
    prompted: results of one prompt a segment, by its kind; empty unless added
    """

    recall: RecallTally = field(default_factory=RecallTally)
    things: RecallTally = field(default_factory=RecallTally)
    stuff: RecallTally = field(default_factory=RecallTally)
    segments: SegmentsTally = field(default_factory=SegmentsTally)
    prompted: dict[PromptKind, list[PromptedSegment]] = field(default_factory=dict)

    def add(self, truth: TrueImage, masks: Sequence[Mask]) -> ImageSegments:
        """Score the masks of one image. -> its own figures."""
        self.recall.add(truth, masks)
        if any(segment.is_thing is not None for segment in truth.segments):
            self.things.add(truth.of_kind(is_thing=True), masks)
            self.stuff.add(truth.of_kind(is_thing=False), masks)
        measured = measure_segments(truth, masks)
        self.segments.add(measured)
        return measured

    def add_prompted(self, results: dict[PromptKind, list[PromptedSegment]]) -> None:
        """Count in what `prompt_segments` found in one image."""
        for kind, found in results.items():
            self.prompted.setdefault(kind, []).extend(found)

    def scores(self) -> Scores:
        """Every figure, by group."""
        groups = {"all": self.recall.scores()}
        if self.things.count[0] or self.stuff.count[0]:
            groups |= {"things": self.things.scores(), "stuff": self.stuff.scores()}
        groups["segments"] = self.segments.scores()
        for kind, results in self.prompted.items():
            groups[f"one {kind}"] = prompt_scores(results)
        return groups


@dataclass
class PartitionQuality:
    """Masks, flattened into a partition, against annotators' partitions."""

    images: list[PartitionScores] = field(default_factory=list)
    nb_masks: int = 0

    def add(self, truths: Sequence[Labels], masks: Sequence[Mask]) -> PartitionScores:
        """Score the masks of one image. -> its own figures."""
        height, width = truths[0].shape
        labels = flatten([mask.rle for mask in masks], (height, width))
        scores = score_partition(labels, truths)
        self.images.append(scores)
        self.nb_masks += len(masks)
        return scores

    def scores(self) -> Scores:
        """Means over images of the best and the mean over annotators."""
        records = [asdict(scores) for scores in self.images]
        groups = {
            name.replace("_", " "): {
                of: mean([record[name][of] for record in records]) for of in ("best", "mean")
            }
            for name in ("covering", "rand_index", "variation_of_information")
        }
        count = self.nb_masks / len(self.images) if self.images else float("nan")
        return groups | {"masks": {"masks an image": count}}
