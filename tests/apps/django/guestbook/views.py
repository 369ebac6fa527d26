from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from guestbook.models import Entry


def index(request: HttpRequest) -> HttpResponse:
    return render(request, "guestbook/index.html", {"entries": Entry.objects.order_by("id")})
