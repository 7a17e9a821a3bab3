"""The AI Gateway's paths, served by the lean handler. Every path not in `urls` belongs here."""

from django.urls import path

from gateway.api import api

urlpatterns = [path("", api.urls)]
