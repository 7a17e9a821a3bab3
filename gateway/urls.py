"""What Django's stock handler serves: pages and the REST API. The gateway's: `inbound_urls`."""

from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

#: What Django's own handler serves; every other path is the AI Gateway's and keeps its rules.
API_PREFIX = "/api/v1/"
PAGE_PREFIXES = ("/admin/", "/static/", API_PREFIX)
PAGES = frozenset({"/", "/admin", "/favicon.ico"})

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("favicon.ico", RedirectView.as_view(url=static("gateway/favicon.svg"))),
    path("admin/", admin.site.urls),
    path("api/v1/", include("gateway.rest.urls")),
]

handler400 = "gateway.pages.errors.bad_request"
handler403 = "gateway.pages.errors.permission_denied"
handler404 = "gateway.pages.errors.page_not_found"
handler500 = "gateway.pages.errors.server_error"
