"""The table of known models: one row each. No network access here."""

from __future__ import annotations

from dataclasses import dataclass

from amg_cli.models.sam import SamConfig


@dataclass(frozen=True)
class KnownModel:
    """One published model.

    name:       what `--model-type` calls it
    config:     its architecture
    url:        where its authors publish the checkpoint
    size_bytes, sha256: of that file
    licence:    of the weights
    """

    name: str
    config: SamConfig
    url: str
    size_bytes: int
    sha256: str
    licence: str


ZOO = {
    row.name: row
    for row in (
        KnownModel(
            name="vit_t",
            config=SamConfig(),
            url="https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
            size_bytes=40728226,
            sha256="6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
            licence="Apache-2.0",
        ),
    )
}
