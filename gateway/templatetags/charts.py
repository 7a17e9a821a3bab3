"""The long parts of charts, written out at once: loops of templates take ten times as long."""

from django import template
from django.utils.html import escape
from django.utils.safestring import SafeString

from gateway.pages.charts import HEIGHT, Chart

register = template.Library()


@register.simple_tag
def chart_rows(chart: Chart) -> SafeString:
    """Return the rows of the table behind a chart."""
    rows = []
    for label, *texts in chart.rows:
        cells = "".join([f'<td class="number">{escape(text)}</td>' for text in texts])
        rows.append(f'<tr><th scope="row">{escape(label)}</th>{cells}</tr>')
    return SafeString("".join(rows))


@register.simple_tag
def chart_hovers(chart: Chart) -> SafeString:
    """Return what says under the pointer what the numbers are."""
    shapes = [
        f'<rect class="hover" x="{hover.x}" y="0" width="{hover.width}" height="{HEIGHT}">'
        f"<title>{escape(hover.text)}</title></rect>"
        for hover in chart.hovers
    ]
    return SafeString("".join(shapes))
