from django.db import models


class Entry(models.Model):
    """A line in the guest book."""

    author = models.CharField(max_length=100)
    text = models.TextField()
