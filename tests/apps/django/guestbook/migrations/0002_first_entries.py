from django.db import migrations


def write_entries(apps, schema_editor):
    entry = apps.get_model("guestbook", "Entry")
    entry.objects.create(author="Ada", text="Hello from a row in SQLite")
    entry.objects.create(author="Grace", text="Built from source, without a daemon")


class Migration(migrations.Migration):
    dependencies = [("guestbook", "0001_initial")]
    operations = [migrations.RunPython(write_entries, migrations.RunPython.noop)]
