"""Pages for people: what Django's stock handler serves. The gateway's paths: `inbound_urls`."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

admin.site.site_header = "Self-hosted models for GitLab Duo"
admin.site.site_title = "Self-hosted models"
admin.site.index_title = "Configuration"

urlpatterns = [
    path("", RedirectView.as_view(url="/admin/")),
    path("admin/", admin.site.urls),
]
