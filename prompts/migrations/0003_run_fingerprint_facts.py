"""Runs hold what their server was measured to be, so that only what both knew can differ."""

from django.db import migrations, models


def fill(apps, schema_editor):
    """Copy the facts of the fingerprints that runs name."""
    runs = apps.get_model("prompts", "EvaluationRun").objects.exclude(fingerprint_digest="")
    fingerprints = apps.get_model("selfhosted_models", "Fingerprint").objects
    for row in runs.values("deployment_id", "fingerprint_digest").order_by().distinct():
        same = {"deployment_id": row["deployment_id"], "digest": row["fingerprint_digest"]}
        if fingerprint := fingerprints.filter(**same).first():
            runs.filter(**row).update(fingerprint_facts=fingerprint.facts)


class Migration(migrations.Migration):

    dependencies = [
        ("prompts", "0002_run_subject"),
        ("selfhosted_models", "0006_fingerprint"),
    ]

    operations = [
        migrations.AddField(
            model_name="evaluationrun",
            name="fingerprint_facts",
            field=models.JSONField(
                default=dict,
                help_text="What it was measured to be, by trait; empty: not measured yet.",
            ),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
    ]
