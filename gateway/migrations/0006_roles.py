from django.contrib.auth.management import create_permissions
from django.db import migrations

LOOKING = {
    "selfhosted_models": ["view_modeldeployment"],
    "feature_config": ["view_featuresetting"],
    "gateway": ["view_revision"],
}
GRANTS = {
    "viewer": LOOKING,
    "editor": {
        **LOOKING,
        "selfhosted_models": [
            "view_modeldeployment",
            "add_modeldeployment",
            "change_modeldeployment",
            "delete_modeldeployment",
        ],
        "feature_config": ["view_featuresetting", "change_featuresetting"],
    },
    "security officer": {
        **LOOKING,
        "gateway": ["view_revision", "view_auditrecord"],
        "auth": ["view_user", "add_user", "change_user"],
    },
}


def create_roles(apps, schema_editor):
    """Make the groups; their permissions first, which Django makes only after all migrations."""
    for label in ("auth", *LOOKING):
        config = apps.get_app_config(label)
        config.models_module = True
        create_permissions(config, verbosity=0, apps=apps)
        config.models_module = None
    groups = apps.get_model("auth", "Group").objects
    permissions = apps.get_model("auth", "Permission").objects
    for role, granted in GRANTS.items():
        group, _ = groups.get_or_create(name=role)
        for label, codenames in granted.items():
            found = permissions.filter(content_type__app_label=label, codename__in=codenames)
            group.permissions.add(*found)


def remove_roles(apps, schema_editor):
    apps.get_model("auth", "Group").objects.filter(name__in=GRANTS).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
        ("feature_config", "0003_setting_file_digest"),
        ("selfhosted_models", "0005_endpoint_health"),
        ("gateway", "0005_usage_records"),
    ]

    operations = [migrations.RunPython(create_roles, remove_roles)]
