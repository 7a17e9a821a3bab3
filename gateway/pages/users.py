"""Users and their roles. Who may do what is said by roles alone, and each change is on record."""

from typing import Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django_otp.plugins.otp_totp.models import TOTPDevice

from gateway.audit import Origin, attribution_of_request, record
from gateway.roles import ROLES


class RoleField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Any) -> str:
        told = ROLES.get(obj.name)
        return f"{obj.name}: {told}" if told else str(obj.name)


class UserAdmin(DjangoUserAdmin):  # type: ignore[type-arg]
    add_form = UserCreationForm
    add_form_template = None
    list_display = ("username", "roles", "has_second_factor", "is_active", "last_login")
    list_filter = ("groups", "is_active")
    search_fields = ("username",)
    filter_horizontal = ()
    actions = ("reset_second_factor",)
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ["username", "password", "is_active"]}),
        ("Roles", {"fields": ["groups"]}),
    )
    add_fieldsets = (
        (None, {"fields": ["username", "password1", "password2"]}),
        ("Roles", {"fields": ["groups"]}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups", "totpdevice_set")

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Nobody gives roles to themselves, and only a superuser changes a superuser."""
        user: Any = request.user
        if obj is not None and not user.is_superuser and (obj.is_superuser or obj.pk == user.pk):
            return False
        return super().has_change_permission(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return False  # the audit trail names them; an inactive user cannot log in

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups":
            groups = Group.objects.order_by("pk")
            return RoleField(groups, required=False, label="Roles")
        return super().formfield_for_manytomany(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:
        obj.is_staff = True  # there are no users but those of these pages
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        user = form.instance
        before = _roles(user)
        super().save_related(request, form, formsets, change)
        changes: dict[str, tuple[Any, Any]] = {"roles": (before, _roles(user))}
        if "is_active" in form.changed_data:
            changes["active"] = (form.initial.get("is_active"), user.is_active)
        self._record(request, "user.changed" if change else "user.added", user, changes)

    def user_change_password(
        self, request: HttpRequest, id: str, form_url: str = ""
    ) -> HttpResponse:
        response = super().user_change_password(request, id, form_url)
        if response.status_code == 302:
            self._record(request, "user.password_changed", User.objects.get(pk=id), {})
        return response

    @admin.action(description="Forget the second factor (lost phone)", permissions=["change"])
    def reset_second_factor(self, request: HttpRequest, users: QuerySet[User]) -> None:
        for user in users:
            if self.has_change_permission(request, user):
                forgotten, _ = TOTPDevice.objects.filter(user=user).delete()
                if forgotten:
                    self._record(request, "second_factor.reset", user, {})
                self.message_user(
                    request,
                    f"{user} sets up a new second factor at the next login.",
                    messages.SUCCESS,
                )
            else:
                self.message_user(
                    request, f"You may not change {user}: ask an administrator.", messages.ERROR
                )

    def _record(
        self, request: HttpRequest, action: str, user: User, changes: dict[str, tuple[Any, Any]]
    ) -> None:
        record(
            attribution_of_request(request, Origin.WEB),
            action,
            object_id=str(user.pk),
            object_name=user.get_username(),
            changes=changes,
        )

    @admin.display(description="roles")
    def roles(self, user: User) -> str:
        names = ["administrator"] if user.is_superuser else []
        return ", ".join([*names, *_roles(user)]) or "none"

    @admin.display(description="second factor", boolean=True)
    def has_second_factor(self, user: Any) -> bool:
        return any(device.confirmed for device in user.totpdevice_set.all())


def _roles(user: User) -> list[str]:
    return sorted(group.name for group in user.groups.all())
