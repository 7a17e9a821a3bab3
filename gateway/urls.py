"""Pages for people: what Django's stock handler serves. The gateway's paths: `inbound_urls`."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

admin.site.site_header = "Self-hosted models for GitLab Duo"
admin.site.site_title = "Self-hosted models"
admin.site.index_title = "Configuration"
admin.site.site_url = None  # there is no other site to view

#: What Django's own handler serves; every other path is the AI Gateway's and keeps its rules.
PAGE_PREFIXES = ("/admin/", "/static/")
PAGES = frozenset({"/", "/admin"})

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]
