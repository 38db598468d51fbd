"""Pages about people, teams, handles and tokens, mounted at /settings/."""

from __future__ import annotations

from django.urls import path

from accounts.views import account, entrance, handles, team, tokens

app_name = "accounts"
urlpatterns = [
    path("", account.account, name="account"),
    path("team/", team.team, name="team"),
    path("team/invitations/", team.invitation_create, name="invitation_create"),
    path("team/invitations/<int:pk>/withdraw/", team.invitation_withdraw, name="invitation_withdraw"),
    path("team/members/<int:pk>/role/", team.member_role, name="member_role"),
    path("team/members/<int:pk>/remove/", team.member_remove, name="member_remove"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/<int:pk>/revoke/", tokens.token_revoke, name="token_revoke"),
    # Not below handles/, where every name may be a handle's.
    path("new-handle/", handles.handle_create, name="handle_create"),
    path("handles/<str:username>/", handles.handle_edit, name="handle_edit"),
    path("invitations/<str:secret>/", entrance.invite_accept, name="invite_accept"),
    path("setup/", entrance.setup, name="setup"),
]
