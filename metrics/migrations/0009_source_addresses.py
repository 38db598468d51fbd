import uuid

import django.contrib.postgres.functions
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("metrics", "0008_inferred_growth"),
    ]

    operations = [
        # The database's own default gives each row that exists a value of its own.
        migrations.AddField(
            model_name="source",
            name="public_id",
            field=models.UUIDField(
                db_default=django.contrib.postgres.functions.RandomUUID(),
                default=uuid.uuid4,
                editable=False,
                unique=True,
            ),
        ),
    ]
