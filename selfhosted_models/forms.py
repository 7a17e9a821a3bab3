from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from selfhosted_models.errors import EndpointRefused
from selfhosted_models.models import ModelDeployment
from selfhosted_models.probing.inspection import pasted_endpoint


class PastedUrlForm(forms.Form):
    """What somebody has of a model server: its URL, roughly, and maybe a key."""

    url = forms.CharField(
        label="URL of the model server",
        max_length=300,
        help_text="As you have it: http://10.0.4.11:8000 is enough. The server says whether /v1 or "
        "something else belongs behind it, and which models it serves.",
        widget=forms.TextInput(attrs={"spellcheck": "false", "inputmode": "url"}),
    )
    api_key = forms.CharField(
        label="API key",
        required=False,
        max_length=2000,
        help_text="Only if the server wants one. It is sent to this host alone and kept encrypted.",
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.auto_id = "pasted_%s"  # another form on the page has a key too
        #: Not stored; as much of it as is known.
        self.deployment = ModelDeployment()

    def clean_url(self) -> str:
        url: str = self.cleaned_data["url"]
        try:
            self.deployment.endpoints = [pasted_endpoint(url).url]
        except EndpointRefused as refusal:
            raise ValidationError(refusal.admin_message) from refusal
        return url

    def clean_api_key(self) -> str:
        key: str = self.cleaned_data["api_key"]
        if key:
            self.deployment.set_api_key(key)
        return ""  # it is on the row now, encrypted


class ModelDeploymentForm(forms.ModelForm):  # type: ignore[type-arg]
    """Edits a deployment. The key is write-only: it is never sent to the browser."""

    api_key = forms.CharField(
        label="API key",
        required=False,
        max_length=2000,
        widget=forms.PasswordInput(render_value=False, attrs={"autocomplete": "off", "size": 60}),
    )
    remove_api_key = forms.BooleanField(label="Remove the stored API key", required=False)

    class Meta:
        model = ModelDeployment
        fields: ClassVar = [
            "name",
            "family",
            "serving_format",
            "endpoints",
            "model_identifier",
            "context_tokens",
            "max_in_flight",
            "first_token_timeout_s",
            "idle_timeout_s",
            "total_timeout_s",
            "is_active",
        ]
        help_texts: ClassVar = {
            "serving_format": "How the server is spoken to. Base models for code completion need "
            "text. An OpenAI-compatible endpoint ends in /v1; a native one is the server's root.",
            "context_tokens": "How many tokens the server takes, input and output together; empty: "
            "what was measured.",
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        hint = self.instance.api_key_hint
        stored = f"A key{f' ending in {hint}' if hint else ''} is stored; leave empty to keep it."
        self.fields["api_key"].help_text = (
            stored if self.instance.has_api_key else "Sent as a bearer token; empty: none is sent."
        )
        if not self.instance.has_api_key:
            del self.fields["remove_api_key"]

    def clean(self) -> dict[str, Any]:
        """Put the key on the row before the model's own rules look at it."""
        cleaned = super().clean() or self.cleaned_data
        key = cleaned.get("api_key", "")
        if key and cleaned.get("remove_api_key"):
            raise ValidationError("Either enter a new API key or remove the stored one.")
        try:
            if key:
                self.instance.set_api_key(key)
            elif cleaned.get("remove_api_key"):
                self.instance.remove_api_key()
        except ValidationError as error:
            self.add_error("api_key", error)
        return cleaned
