"""What the admin pages are about."""

from django.contrib import admin
from django.contrib.auth import admin as _auth_admin  # noqa: F401 - registers its models
from django.contrib.auth.models import Group, User
from django_otp.plugins.otp_totp import admin as _totp_admin  # noqa: F401 - registers its model
from django_otp.plugins.otp_totp.models import TOTPDevice

from feature_config.models import FeatureSetting
from gateway.pages.deployments import RecordedDeploymentAdmin
from gateway.pages.features import FeaturesAdmin
from gateway.pages.users import UserAdmin
from selfhosted_models.models import ModelDeployment

# Roles are made by migrations; a device's page would show its key.
admin.site.unregister([User, Group, TOTPDevice])
admin.site.register(User, UserAdmin)
admin.site.register(ModelDeployment, RecordedDeploymentAdmin)
admin.site.register(FeatureSetting, FeaturesAdmin)
