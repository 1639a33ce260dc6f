"""The report as a PDF: reportlab sets text and tables, matplotlib draws the figures; no browser and no network.

Text is in DejaVu Sans, which matplotlib carries and which has the Greek, minus and arrows that reports need.
"""

from __future__ import annotations

import html
import io
import time
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import MissingDependency
from ..plots.static import png
from ..progress import Progress, silent
from .compose import Section
from .gather import Results

#: Points: A4 in the margins' frame.
WIDTH, HEIGHT = 595.28 - 2 * 48, 841.89 - 2 * 54
FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"
INK, GREY, WARN, LINE = "#1F2933", "#52606D", "#A84300", "#E4E7EB"


def pdf_of(results: Results, sections: list[Section], progress: Progress = silent) -> bytes:
    """The whole document. Raises: MissingDependency where reportlab or matplotlib is not installed."""
    try:
        from reportlab.platypus import BaseDocTemplate, Frame, PageTemplate
    except ImportError:
        raise MissingDependency(
            "The PDF needs reportlab and matplotlib.", "Install them with: pip install reportlab matplotlib"
        ) from None
    styles = _styles()
    title = f"Did the added films help? {results.source}"
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    about = (
        f"Run {results.run}; {', '.join(results.backbones)}; {', '.join(results.arms)}; made {made} by CARS "
        f"{results.origin['code_version']}."
    )
    story: list[Any] = [_paragraph(title, styles["title"]), _paragraph(about, styles["about"])]
    for done, section in enumerate(sections):
        progress(done, len(sections), f"printing {section.title}")
        story += _section(section, styles)
    stream = io.BytesIO()
    document = BaseDocTemplate(
        stream, pagesize=(595.28, 841.89), leftMargin=48, rightMargin=48, topMargin=54, bottomMargin=54, title=title,
        author="CARS", subject=f"run {results.run}",
    )  # fmt: skip
    frame = Frame(48, 54, WIDTH, HEIGHT, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)

    def footer(canvas: Any, page: Any) -> None:
        canvas.setFont(FONT, 7.5)
        canvas.setFillColor(GREY)
        canvas.drawString(48, 34, f"CARS · {results.source} · run {results.run}"[:100])
        canvas.drawRightString(48 + WIDTH, 34, f"page {page.page}")

    document.addPageTemplates([PageTemplate("page", [frame], onPage=footer)])
    document.build(story)
    progress(len(sections), len(sections), "printed")
    return stream.getvalue()


def _styles() -> dict[str, Any]:
    import matplotlib
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (FONT, BOLD):
        if name not in pdfmetrics.getRegisteredFontNames():
            pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    text = ParagraphStyle("text", fontName=FONT, fontSize=9, leading=13, textColor=INK, spaceAfter=5)
    return {
        "text": text,
        "title": ParagraphStyle("title", text, fontName=BOLD, fontSize=17, leading=22),
        "about": ParagraphStyle("about", text, textColor=GREY, spaceAfter=10),
        "heading": ParagraphStyle(
            "heading", text, fontName=BOLD, fontSize=12.5, leading=17, spaceBefore=14, keepWithNext=1
        ),
        "point": ParagraphStyle("point", text, leftIndent=11, bulletIndent=0),
        "warn": ParagraphStyle("warn", text, leftIndent=11, bulletIndent=0, textColor=WARN),
        "caption": ParagraphStyle("caption", text, textColor=GREY, fontSize=8, spaceBefore=6, spaceAfter=2),
        "cell": ParagraphStyle("cell", fontName=FONT, fontSize=6.6, leading=8.4, textColor=INK, splitLongWords=1),
        "head": ParagraphStyle("head", fontName=BOLD, fontSize=6.6, leading=8.4, textColor=INK),
    }


def _paragraph(text: str, style: Any, **options: Any) -> Any:
    from reportlab.platypus import Paragraph

    return Paragraph(html.escape(str(text), quote=False), style, **options)


def _section(section: Section, styles: dict[str, Any]) -> list[Any]:
    from reportlab.platypus import CondPageBreak, Image, Spacer

    story: list[Any] = [CondPageBreak(120), _paragraph(section.title, styles["heading"])]
    story += [_paragraph(text, styles["text"]) for text in section.paragraphs]
    for text in section.points:
        style = styles["warn" if text.startswith("What this cannot say") else "point"]
        story.append(_paragraph(text, style, bulletText="•"))
    for picture in section.pictures:
        drawn = Image(io.BytesIO(png(picture.figure)))
        scale = min(WIDTH / drawn.imageWidth, (HEIGHT - 40) / drawn.imageHeight)
        drawn.drawWidth, drawn.drawHeight = scale * drawn.imageWidth, scale * drawn.imageHeight
        drawn.hAlign = "LEFT"
        story += [Spacer(1, 8), drawn]
    for caption, table in section.tables:
        story += [_paragraph(caption, styles["caption"]), *_table(table, styles)]
    return story


def _table(table: pd.DataFrame, styles: dict[str, Any]) -> list[Any]:
    from reportlab.platypus import Table, TableStyle

    if not len(table):
        return [_paragraph("There is none.", styles["text"])]
    rows = [[_paragraph(name, styles["head"]) for name in table.columns]]
    rows += [[_paragraph(_text(v), styles["cell"]) for v in row] for row in table.itertuples(index=False, name=None)]
    drawn = Table(rows, colWidths=widths(table), repeatRows=1, hAlign="LEFT")
    drawn.setStyle(
        TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"), ("LINEBELOW", (0, 0), (-1, -1), 0.4, LINE),
                ("LEFTPADDING", (0, 0), (-1, -1), 0), ("RIGHTPADDING", (0, 0), (-1, -1), 5),
                ("TOPPADDING", (0, 0), (-1, -1), 1.5), ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
            ]
        )
    )  # fmt: skip
    return [drawn]


def _text(value: object) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return "undefined"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def widths(table: pd.DataFrame, total: float = WIDTH) -> list[float]:
    """Column widths in points that add up to at most `total`, by the longest text and the longest word of each."""
    letter, room = 4.15, 7.0
    wanted, least = [], []
    for name in table.columns:
        texts = [str(name), *(_text(v) for v in table[name])]
        wanted.append(letter * max(len(t) for t in texts) + room)
        longest = max((len(word) for t in texts for word in t.split()), default=1)
        least.append(min(letter * longest + room, 150.0))
    if sum(wanted) <= total:
        return wanted
    # every column keeps its longest word, and what is left goes by what each still wants
    spare = total - sum(least)
    if spare <= 0:
        return [total * w / sum(least) for w in least]
    missing = [max(w - one, 0.0) for w, one in zip(wanted, least)]
    return [one + spare * m / max(sum(missing), 1e-9) for one, m in zip(least, missing)]
