from django.db import migrations, models
from django.db.models.functions import Lower


def distinct_names(names):
    """Return the names, with a number where one differs from an earlier one by case alone."""
    taken = {name.lower() for name in names}
    seen, distinct = set(), []
    for name in names:
        new, number = name, 2
        while new.lower() in (seen if new == name else seen | taken):
            new, number = f"{name[:90]} ({number})", number + 1
        seen.add(new.lower())
        distinct.append(new)
    return distinct


def tell_names_apart(apps, schema_editor):
    """Rename deployments that would clash; references are by id and stay."""
    deployments = apps.get_model("selfhosted_models", "ModelDeployment").objects
    rows = list(deployments.order_by("created_at", "pk"))
    for row, name in zip(rows, distinct_names([row.name for row in rows]), strict=True):
        if name != row.name:
            deployments.filter(pk=row.pk).update(name=name)


class Migration(migrations.Migration):
    dependencies = [("selfhosted_models", "0007_probe_runs")]

    operations = [
        migrations.RunPython(tell_names_apart, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="modeldeployment",
            constraint=models.UniqueConstraint(
                Lower("name"), name="selfhosted_models_deployment_name_once"
            ),
        ),
    ]
