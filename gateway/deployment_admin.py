"""Deployments in the admin, with what only this app knows: who uses them, what may be dialled."""

from gateway.configuration_admin import ConfigurationAdmin
from selfhosted_models.admin import ModelDeploymentAdmin


class RecordedDeploymentAdmin(ConfigurationAdmin, ModelDeploymentAdmin):
    pass
