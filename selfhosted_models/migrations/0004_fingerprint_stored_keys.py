from django.conf import settings
from django.db import migrations

from selfhosted_models.errors import SecretUnavailable
from selfhosted_models.secrets import Secret, SecretBox


def fingerprint_stored_keys(apps, schema_editor):
    """Name the keys that were stored before keys had fingerprints."""
    box = SecretBox(settings.ENCRYPTION_KEYS)
    for row in apps.get_model("selfhosted_models", "ModelDeployment").objects.exclude(
        api_key_ciphertext=""
    ):
        context = f"selfhosted_models.modeldeployment.api_key:{row.pk}"
        try:
            key = box.decrypt(row.api_key_ciphertext, context=context)
        except SecretUnavailable:
            key = Secret(row.api_key_ciphertext)  # a name nonetheless; it goes with the next key
        row.api_key_fingerprint = key.fingerprint(keyed_by=settings.SECRET_KEY)
        row.save(update_fields=["api_key_fingerprint"])


class Migration(migrations.Migration):
    dependencies = [("selfhosted_models", "0003_api_key_origin_and_file_digest")]

    operations = [migrations.RunPython(fingerprint_stored_keys, migrations.RunPython.noop)]
