"""The addresses of pages, exports and the JSON API."""

from __future__ import annotations

from django.urls import URLPattern, path

from metrics.present import pages

urlpatterns: list[URLPattern] = [
    path("", pages.handles, name="handles"),
    path("live.json", pages.handles_live, name="handles_live"),
    path("search/", pages.search, name="search"),
    path("h/<str:username>/", pages.dashboard, name="dashboard"),
    path("h/<str:username>/live.json", pages.dashboard_live, name="live_snapshot"),
    path("h/<str:username>/t/<int:tweet_id>/", pages.tweet, name="tweet"),
    path("h/<str:username>/t/<int:tweet_id>/live.json", pages.tweet_live, name="tweet_snapshot"),
]
