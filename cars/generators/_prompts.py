"""What text-to-image models are told: the words for each finding, and the style of each model.

A model is never told labels only. Its prompt names, in words as reports use them, every finding that an edit changes,
as present or as absent, on the side where the region of interest lies. The prompt of the film as it is (the source)
serves as the negative side of the guidance, so what both prompts say cancels out.

Nobody has read the released models' answers to these phrases here: their weights are gated. Change a phrase and the
generators' revision changes with it, so that edits made with other words are other edits.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..errors import SettingError
from ..provenance import digest
from ..schema import ABSENT, FINDINGS, PRESENT, UNCERTAIN
from . import EditRequest

#: Finding → (present, absent). "{side}" becomes left, right or bilateral, or goes where the side is not known.
PHRASES: dict[str, tuple[str, str]] = {
    "Atelectasis": ("{side} basilar atelectasis", "no atelectasis"),
    "Cardiomegaly": ("cardiomegaly", "the heart is normal in size"),
    "Consolidation": ("{side} lung consolidation", "no focal consolidation"),
    "Edema": ("pulmonary edema", "no pulmonary edema"),
    "Enlarged Cardiomediastinum": ("enlarged cardiomediastinal silhouette", "normal cardiomediastinal silhouette"),
    "Fracture": ("{side} rib fracture", "no fracture"),
    "Lung Lesion": ("{side} lung nodule", "no lung nodule or mass"),
    "Lung Opacity": ("{side} lung opacity", "no lung opacity"),
    "Pleural Effusion": ("{side} pleural effusion", "no pleural effusion"),
    "Pleural Other": ("{side} pleural thickening", "no pleural thickening"),
    "Pneumonia": ("{side} pneumonia", "no pneumonia"),
    "Pneumothorax": ("{side} pneumothorax", "no pneumothorax"),
    "Support Devices": ("support devices", "no support devices"),
}
#: Before the present phrase of a finding that is uncertain.
POSSIBLE = "possible"
#: "No Finding" present. Reports of normal films in MIMIC-CXR say it so, and these models were trained on them.
NORMAL = "no acute cardiopulmonary process"
#: Share of a ROI's lung pixels that must lie in one lung for a finding to be on that side.
ONE_SIDED = 0.8


@dataclass(frozen=True)
class Style:
    """How one model wants to be spoken to. lead: the words before the findings, from a request; "" for none."""

    name: str
    lead: Callable[[EditRequest], str]

    @property
    def revision(self) -> str:
        """Changes with the phrases and with what is said of a man of 60 (so with the lead)."""
        empty = np.zeros(0)
        sample = EditRequest(empty, empty, empty, empty, empty, "PA", "M", 60.0)
        return digest(PHRASES, NORMAL, POSSIBLE, ONE_SIDED, self.lead(sample), length=6)


def person(request: EditRequest) -> str:
    """ "60 year old female", as far as age and sex are known; "" where neither is."""
    words = {"F": "female", "M": "male"}.get(request.sex, "")
    if request.age is None or request.age != request.age:
        return words
    return f"{round(request.age)} year old {words or 'patient'}"


def _view_and_person(request: EditRequest) -> str:
    view = f"{request.view} chest radiograph" if request.view in ("PA", "AP") else "chest radiograph"
    return ", ".join(part for part in (view, person(request)) if part)


#: Trained on impressions of reports or on lists of observations (its model card): findings only.
RADEDIT = Style("radedit", lambda request: "")
#: Trained on "<age> year old <race> <sex>. <impression>", race optional (its README); CARS never tells a race.
ROENTGEN_V2 = Style("roentgen-v2", person)
#: A chest model of which nothing is known.
GENERIC = Style("generic", _view_and_person)


def side_of(roi: np.ndarray, masks: np.ndarray) -> str:
    """Where a ROI lies: "left", "right", "bilateral", or "" where it touches no lung.

    Args:
        roi: bool (S, S). masks: bool (3, S, S), left lung (the patient's), right lung, heart.
    """
    left, right = (int((roi & lung).sum()) for lung in masks[:2])
    if left + right == 0:
        return ""
    share = left / (left + right)
    return "left" if share >= ONE_SIDED else "right" if share <= 1 - ONE_SIDED else "bilateral"


def phrase(finding: str, code: int, side: str) -> str:
    """The words for a finding of that code; "" where there is nothing to say (not mentioned)."""
    present, absent = PHRASES[finding]
    if code == ABSENT:
        return absent
    if code not in (PRESENT, UNCERTAIN):
        return ""
    words = " ".join(present.format(side=side).split())
    return f"{POSSIBLE} {words}" if code == UNCERTAIN else words


def describe(request: EditRequest, vector: np.ndarray, style: Style) -> str:
    """One prompt: the style's lead, "no acute process" for a normal film, then each finding in FINDINGS' order that the
    edit is about or that is present. "" where nothing is to be said."""
    side = side_of(request.roi, request.masks)
    codes = dict(zip(FINDINGS, (int(code) for code in vector)))
    sentences = [style.lead(request), NORMAL if codes["No Finding"] == PRESENT else ""]
    sentences += [
        phrase(finding, codes[finding], side)
        for finding in PHRASES
        if finding in request.changed or codes[finding] == PRESENT
    ]
    return " ".join(f"{sentence[0].upper()}{sentence[1:]}." for sentence in sentences if sentence)


def prompts(request: EditRequest, style: Style) -> tuple[str, str]:
    """(source prompt, target prompt).

    Raises: SettingError when the vectors differ and the prompts do not: then the words would lose the edit.
    """
    before, after = (describe(request, vector, style) for vector in (request.vector_from, request.vector_to))
    if before == after and not np.array_equal(request.vector_from, request.vector_to):
        raise SettingError(
            f"There are no words for a change of {', '.join(request.changed)} ({before!r} before and after).",
            "Change a finding between present and absent.",
        )
    return before, after
