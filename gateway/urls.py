"""What Django's stock handler serves: pages and the REST API. The gateway's: `inbound_urls`."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

admin.site.site_header = "Self-hosted models for GitLab Duo"
admin.site.site_title = "Self-hosted models"
admin.site.index_title = "Configuration"
admin.site.site_url = None  # there is no other site to view

#: What Django's own handler serves; every other path is the AI Gateway's and keeps its rules.
API_PREFIX = "/api/v1/"
PAGE_PREFIXES = ("/admin/", "/static/", API_PREFIX)
PAGES = frozenset({"/", "/admin"})

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
    path("api/v1/", include("gateway.rest.urls")),
]

handler500 = "gateway.views.failures.server_error"
