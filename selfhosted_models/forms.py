from typing import Any, ClassVar

from django import forms
from django.core.exceptions import ValidationError

from selfhosted_models.models import ModelDeployment


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
            "text. An OpenAI-compatible endpoint ends in /v1; a native one is the server's root."
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
