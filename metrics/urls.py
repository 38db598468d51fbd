"""The addresses of pages, exports and the JSON API."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from metrics.present import api, exports, pages

urlpatterns: list[URLPattern | URLResolver] = [
    path("", pages.handles, name="handles"),
    path("live.json", pages.handles_live, name="handles_live"),
    path("search/", pages.search, name="search"),
    path("h/<str:username>/", pages.dashboard, name="dashboard"),
    path("h/<str:username>/live.json", pages.dashboard_live, name="live_snapshot"),
    path("h/<str:username>/t/<int:tweet_id>/", pages.tweet, name="tweet"),
    path("h/<str:username>/t/<int:tweet_id>/live.json", pages.tweet_live, name="tweet_snapshot"),
    path("h/<str:username>/tweets.csv", exports.export_tweets, name="export_tweets"),
    path("h/<str:username>/series.csv", exports.export_series, name="export_series"),
    path("h/<str:username>/breakdown.csv", exports.export_breakdown, name="export_breakdown"),
    path("h/<str:username>/t/<int:tweet_id>/series.csv", exports.export_tweet_series, name="export_tweet_series"),
    path("api/docs", api.api_docs, name="api_docs"),
    path("api/", api.api.urls),
]
