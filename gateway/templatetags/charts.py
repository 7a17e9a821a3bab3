"""The long parts of charts, written out at once: loops of templates take ten times as long."""

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from gateway.charts import HEIGHT, Chart

register = template.Library()


@register.simple_tag
def chart_rows(chart: Chart) -> SafeString:
    """Return the rows of the table behind a chart."""
    rows = (
        (label, format_html_join("", '<td class="number">{}</td>', ((text,) for text in texts)))
        for label, *texts in chart.rows
    )
    return format_html_join("", '<tr><th scope="row">{}</th>{}</tr>', rows)


@register.simple_tag
def chart_hovers(chart: Chart) -> SafeString:
    """Return what says under the pointer what the numbers are."""
    shape = format_html('y="0" height="{}"', HEIGHT)
    return format_html_join(
        "",
        '<rect class="hover" x="{}" width="{}" {}><title>{}</title></rect>',
        ((hover.x, hover.width, shape, hover.text) for hover in chart.hovers),
    )
