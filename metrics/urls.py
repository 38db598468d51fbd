"""The addresses of pages, exports and the JSON API."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, path, re_path, register_converter

from metrics.present import (
    analytics,
    api,
    audience,
    campaigns,
    connect_x,
    engagement_api,
    exports,
    imports,
    integrations,
    pages,
    rules,
    sources,
    start,
    upload_doors,
)


class TagConverter:
    """A tag in an address: any text, whatever it holds."""

    regex = r"(?s:.+)"

    def to_python(self, value: str) -> str:
        """The tag."""
        return value

    def to_url(self, value: str) -> str:
        """The tag, which Django then quotes."""
        return value


register_converter(TagConverter, "tag")

urlpatterns: list[URLPattern | URLResolver] = [
    path("", pages.handles, name="handles"),
    path("live.json", pages.handles_live, name="handles_live"),
    path("search/", pages.search, name="search"),
    path("campaigns/", campaigns.listing, name="campaigns"),
    path("campaigns/<tag:tag>/tweets.csv", campaigns.export_campaign, name="export_campaign"),
    path("campaigns/<tag:tag>/", campaigns.campaign, name="campaign"),
    path("h/<str:username>/", pages.dashboard, name="dashboard"),
    path("h/<str:username>/tags/", campaigns.tag_tweets, name="tag_tweets"),
    path("h/<str:username>/live.json", pages.dashboard_live, name="live_snapshot"),
    path("h/<str:username>/t/<int:tweet_id>/", pages.tweet, name="tweet"),
    path("h/<str:username>/t/<int:tweet_id>/live.json", pages.tweet_live, name="tweet_snapshot"),
    path("h/<str:username>/people/", audience.people_now, name="people_now"),
    path("h/<str:username>/t/<int:tweet_id>/people/", audience.tweet_people_now, name="tweet_people_now"),
    path("h/<str:username>/t/<int:tweet_id>/reach/", audience.tweet_reach_now, name="tweet_reach_now"),
    path("h/<str:username>/audience/", audience.page, name="audience"),
    path("h/<str:username>/audience.csv", exports.export_audience, name="export_audience"),
    path("h/<str:username>/tweets.csv", exports.export_tweets, name="export_tweets"),
    path("h/<str:username>/series.csv", exports.export_series, name="export_series"),
    path("h/<str:username>/breakdown.csv", exports.export_breakdown, name="export_breakdown"),
    path("h/<str:username>/account_days.csv", exports.export_account_days, name="export_account_days"),
    path("h/<str:username>/t/<int:tweet_id>/series.csv", exports.export_tweet_series, name="export_tweet_series"),
    path("h/<str:username>/first-token/", start.first_token, name="first_token"),
    path("h/<str:username>/begun/", start.begun, name="begun"),
    path("h/<str:username>/sources/", sources.page, name="sources"),
    path("h/<str:username>/sources/figures/", sources.figures, name="source_figures"),
    path("h/<str:username>/sources/trouble/", sources.trouble, name="source_trouble"),
    path("h/<str:username>/sources/connect/<str:kind>/", sources.connect, name="source_connect"),
    path("h/<str:username>/sources/<int:pk>/<str:action>/", sources.act, name="source_act"),
    path("h/<str:username>/x/", connect_x.connect_x, name="connect_x"),
    path("h/<str:username>/x/disconnect/", connect_x.disconnect_x, name="disconnect_x"),
    path("h/<str:username>/x/webhook/", connect_x.webhook_create, name="webhook_create"),
    path("h/<str:username>/x/webhook/remove/", connect_x.webhook_remove, name="webhook_remove"),
    # allauth finds the address by this name.
    path("accounts/x/callback/", connect_x.answered, name="twitter_oauth2_callback"),
    path("h/<str:username>/import/", imports.page, name="file_import"),
    path("h/<str:username>/import/live.json", imports.live, name="import_live"),
    path("h/<str:username>/import/files/", upload_doors.announce_file, name="import_files"),
    path("h/<str:username>/import/<int:pk>/", imports.one, name="import_report"),
    path("h/<str:username>/import/<int:pk>/card/", imports.card, name="import_card"),
    path("h/<str:username>/import/<int:pk>/pieces/", upload_doors.take_piece, name="import_pieces"),
    path("h/<str:username>/import/<int:pk>/start/", imports.start, name="import_start"),
    path("h/<str:username>/import/<int:pk>/cancel/", imports.cancel, name="import_cancel"),
    path("h/<str:username>/import/<int:pk>/refused.csv", exports.export_import_problems, name="export_import_problems"),
    re_path(f"^rules/{rules.ADDRESS}$", rules.rules, name="rules"),
    path("insights/engagement/<path:surface>", engagement_api.engagement_counts, name="engagement"),
    path("2/tweets/analytics", analytics.tweets_analytics, name="analytics"),
    path("settings/integrations/", integrations.integrations, name="integrations"),
    path("settings/integrations/readers/", integrations.connected, name="integrations_readers"),
    path("settings/integrations/rules/", integrations.follow, name="integrations_follow"),
    path("settings/integrations/rules/<int:pk>/remove/", integrations.unfollow, name="integrations_unfollow"),
    path("settings/integrations/try/", integrations.try_request, name="integrations_try"),
    path("api/docs", api.api_docs, name="api_docs"),
    path("api/", api.api.urls),
]
