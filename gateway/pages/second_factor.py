"""The second factor: a code from an authenticator app, set up and asked for offline."""

import base64
from typing import Any

import django_otp
import segno
from django import forms
from django.contrib import admin
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import RedirectURLMixin, redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.safestring import SafeString, mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.generic import FormView
from django_otp.plugins.otp_totp.models import TOTPDevice

from gateway.audit import Origin, attribution_of_request, record


class CodeForm(forms.Form):
    code = forms.RegexField(
        r"\A\s*[0-9]{3}\s*[0-9]{3}\s*\Z",
        label="Code",
        max_length=12,
        help_text="Six digits; a new one every 30 seconds.",
        error_messages={"invalid": "The code has six digits."},
        widget=forms.TextInput(
            attrs={"autocomplete": "one-time-code", "inputmode": "numeric", "autofocus": True}
        ),
    )

    def clean_code(self) -> str:
        return "".join(self.cleaned_data["code"].split())


@method_decorator([never_cache, sensitive_post_parameters("code")], name="dispatch")
class SecondFactorView(RedirectURLMixin, FormView):  # type: ignore[type-arg]
    """Sets the factor up the first time, asks for a code after that."""

    form_class = CodeForm
    template_name = "gateway/second_factor.html"
    site: admin.AdminSite = None  # type: ignore[assignment] # given to as_view
    device: Any

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not (request.user.is_active and request.user.is_staff):
            return redirect_to_login(request.get_full_path(), reverse("admin:login"))
        devices = TOTPDevice.objects.filter(user=request.user)
        self.device = devices.filter(confirmed=True).first()
        if self.device is None:
            self.device, _ = devices.get_or_create(
                confirmed=False, defaults={"user": request.user, "name": "authenticator app"}
            )
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: CodeForm) -> HttpResponse:
        is_allowed, _ = self.device.verify_is_allowed()
        if not is_allowed:
            form.add_error("code", "Too many wrong codes: wait a moment, then enter a new one.")
            return self.form_invalid(form)
        user = self.request.user
        verified: Any = django_otp.verify_token(
            user, self.device.persistent_id, form.cleaned_data["code"]
        )
        if verified is None:
            form.add_error(
                "code",
                "That is not the code of this moment. Enter the newest one, and check that the "
                "clocks of your phone and of this server are right.",
            )
            return self.form_invalid(form)
        if not verified.confirmed:
            verified.confirmed = True
            verified.save()
            record(
                attribution_of_request(self.request, Origin.WEB),
                "second_factor.set_up",
                object_id=str(user.pk),
                object_name=user.get_username(),
            )
        django_otp.login(self.request, verified)
        return HttpResponseRedirect(self.get_success_url())

    def get_default_redirect_url(self) -> str:
        return reverse("admin:index")

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        if not self.device.confirmed:
            context["qr_code"] = qr_code(self.device.config_url)
            context["key"] = _in_fours(self.device.bin_key)
        return {
            **context,
            **self.site.each_context(self.request),
            "title": "Second factor",
            "device": self.device,
            "next": self.request.GET.get(REDIRECT_FIELD_NAME, ""),
            "is_verified": self.request.user.is_verified(),  # type: ignore[union-attr]
        }


def qr_code(text: str) -> SafeString:
    """Return the QR code of `text` as an SVG element, without style or script."""
    svg = segno.make(text, error="m").svg_inline(
        scale=4,
        border=2,
        omitsize=True,
        svgclass="qr-code",
        lineclass=None,
        dark="#000",
        light="#fff",
    )
    return mark_safe(svg)  # noqa: S308 - drawn by the library: paths and numbers only


def _in_fours(key: bytes) -> str:
    """Return the key as people type it into an app."""
    text = base64.b32encode(key).decode().rstrip("=")
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))
