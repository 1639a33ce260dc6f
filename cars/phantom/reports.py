"""Reports of phantom studies: short, made up, in the form that MIMIC-CXR's have, and saying what the labels say.

A label present, absent or uncertain is stated so in FINDINGS; what the label does not mention, the report does not
mention. Findings that are absent are denied together, the way radiologists do, and INDICATION asks for things that may
not be there.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

#: finding → (what it is called, a sentence that states it, one that doubts it). {side}: left or right.
_WORDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "Atelectasis": (
        ("atelectasis",),
        ("There is {side} basilar atelectasis.", "Linear atelectasis is seen at the {side} base."),
        ("There may be minor {side} basilar atelectasis.",),
    ),
    "Cardiomegaly": (
        ("cardiomegaly", "cardiac enlargement"),
        ("The cardiac silhouette is mildly enlarged.", "There is moderate cardiomegaly.", "The heart is enlarged."),
        ("The heart is borderline enlarged.", "Possible mild cardiomegaly."),
    ),
    "Consolidation": (
        ("focal consolidation", "consolidation"),
        ("There is consolidation in the {side} lower lobe.", "{Side} lower lobe airspace consolidation is present."),
        ("Consolidation at the {side} base cannot be excluded.", "Possible {side} lower lobe consolidation."),
    ),
    "Edema": (
        ("pulmonary edema", "overt edema"),
        ("There is mild pulmonary edema.", "Moderate pulmonary edema has developed."),
        ("Mild pulmonary edema is possible.",),
    ),
    "Enlarged Cardiomediastinum": (
        ("mediastinal widening",),
        ("The mediastinum is widened.",),
        ("The mediastinum may be slightly wide.",),
    ),
    "Fracture": (
        ("displaced rib fracture", "rib fracture"),
        ("There is a {side} rib fracture.",),
        ("A {side} rib fracture is suspected.",),
    ),
    "Lung Lesion": (
        ("pulmonary nodule", "nodule"),
        ("A nodule projects over the {side} mid lung.", "There is a pulmonary nodule on the {side}."),
        ("A small {side} nodule cannot be ruled out.", "Questionable nodule in the {side} upper lobe."),
    ),
    "Lung Opacity": (
        ("opacity", "parenchymal opacity"),
        ("There is a patchy opacity in the {side} lung.", "{Side} lung opacities are unchanged."),
        ("A subtle {side} opacity is possible.",),
    ),
    "Pleural Effusion": (
        ("pleural effusion", "effusion"),
        (
            "There is a small {side} pleural effusion.", "No change in the {side} effusion.",
            "{Side} effusion is larger.",
        ),
        ("A small {side} effusion cannot be excluded.", "Possible trace {side} effusion."),
    ),
    "Pleural Other": (
        ("pleural thickening",),
        ("There is {side} apical pleural thickening.",),
        ("There may be {side} pleural thickening.",),
    ),
    "Pneumonia": (
        ("pneumonia",),
        ("{Side} lower lobe pneumonia.", "Findings are consistent with {side} sided pneumonia."),
        ("Findings are suspicious for {side} sided pneumonia.", "Pneumonia cannot be excluded."),
    ),
    "Pneumothorax": (
        ("pneumothorax",),
        ("There is a small {side} apical pneumothorax.", "{Side} pneumothorax persists."),
        ("A tiny {side} pneumothorax is not excluded.", "Possible {side} apical pneumothorax."),
    ),
    "Support Devices": (
        ("line or tube",),
        ("A {side} central venous catheter is in place.",),
        ("A catheter may project over the {side} chest.",),
    ),
}  # fmt: skip
_ASKED = ("Rule out pneumonia.", "Evaluate for effusion.", "Assess for pneumonia or pneumothorax.", "Chest pain.")
_DENIALS = ("No {}.", "There is no {}.", "No evidence of {}.", "The chest is free of {}.", "No {} is seen.")


def report_of(study_id: int, labels: Mapping[str, float], view: str) -> str:
    """The report of a study; the same for the same study and labels.

    labels: finding → 1.0, 0.0 or −1.0; one that is not mentioned is no key. view: the view of one of its films.
    """
    choose = np.random.default_rng([study_id, 7])

    def one(texts: tuple[str, ...]) -> str:
        return texts[int(choose.integers(len(texts)))]

    stated: list[str] = []
    denied: list[str] = []
    for finding, (names, present, doubtful) in _WORDS.items():
        side = one(("left", "right"))
        if labels.get(finding) == 0.0:
            denied.append(one(names))
        elif finding in labels:
            text = one(present if labels[finding] == 1.0 else doubtful)
            stated.append(text.format(side=side, Side=side.capitalize()))
    if denied:
        listed = denied[0] if len(denied) == 1 else ", ".join(denied[:-1]) + " or " + denied[-1]
        stated.insert(int(choose.integers(len(stated) + 1)), one(_DENIALS).format(listed))
    normal = labels.get("No Finding") == 1.0
    impression = "No acute cardiopulmonary process." if normal else "Findings as above."
    how = "Portable AP" if view == "AP" else "PA and lateral"
    return (
        "FINAL REPORT\n"
        f" EXAMINATION:  CHEST ({how.upper()})\n\n"
        f" INDICATION:  {one(_ASKED)}\n\n"
        f" TECHNIQUE:  {how} chest radiograph of a phantom.\n\n"
        " COMPARISON:  None.\n\n"
        f" FINDINGS:\n\n {' '.join(stated) or 'The thorax is shown.'}\n\n"
        f" IMPRESSION:\n\n {impression}\n"
    )
