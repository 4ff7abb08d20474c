"""The table of routes: method, URLs, resource, who may call, limit. Nothing is served that does not stand here."""

from domain import limits
from resources import (
    auth,
    docs,
    email_confirmation,
    google_auth,
    health,
    metrics,
    mfa,
    openapi,
    otp,
    password_reset,
    profile,
    signup,
    token_refresh,
)
from resources.access import (
    Rule,
    anyone,
    leaving,
    leaving_by_header,
    perhaps_signed_in,
    recently_signed_in,
    refreshing,
    scraping,
    signed_in,
    whoever_signed_in,
)
from resources.base import Resource, Route

Row = tuple[str, str, type[Resource], Rule, str | None]

# method, URLs (the first is canonical), resource, who may call, limit
TABLE: tuple[Row, ...] = (
    # Accounts
    ("POST", "/signup /api/auth/register /auth/register", signup.SignUp, anyone, None),
    ("GET", "/confirm/<token> /api/auth/verify-email/<token>", email_confirmation.ConfirmLink, anyone, None),
    ("POST", "/confirm/<token> /api/auth/verify-email/<token>", email_confirmation.ConfirmLink, anyone, limits.CONFIRM),
    ("POST", "/confirm", email_confirmation.ConfirmCode, anyone, limits.CONFIRM),
    ("POST", "/resend-confirmation", email_confirmation.ResendConfirmation, anyone, limits.RESEND),
    ("POST", "/login /api/auth/login /auth/login", auth.Login, anyone, limits.LOGIN),
    ("POST", "/logout /api/auth/logout /auth/logout", auth.Logout, leaving, None),
    ("GET", "/auth/logout", auth.Logout, leaving_by_header, None),
    ("POST", "/refresh /api/auth/refresh", token_refresh.Refresh, refreshing, None),
    ("GET", "/auth/status", auth.AuthStatus, whoever_signed_in, limits.FREE),
    ("POST", "/forgot-password /api/password/forgot", password_reset.ForgotPassword, anyone, limits.FORGOT),
    ("GET", "/reset-password/<token>", password_reset.ResetPasswordLink, anyone, None),
    ("POST", "/reset-password/<token>", password_reset.ResetPasswordLink, anyone, limits.RESET),
    ("POST", "/api/password/reset", password_reset.ResetPassword, anyone, limits.RESET),
    ("POST", "/change-password /api/auth/change-password", password_reset.ChangePassword, signed_in, None),
    ("GET", "/password-policy", password_reset.PasswordPolicy, anyone, None),
    # Profile
    ("GET", "/profile", profile.Profile, signed_in, None),
    ("PUT", "/profile", profile.Profile, signed_in, None),
    ("PATCH", "/profile", profile.Profile, signed_in, None),
    ("GET", "/api/auth/me", profile.Me, signed_in, None),
    ("DELETE", "/profile/picture", profile.ProfilePicture, signed_in, None),
    ("GET", "/uploads/profile_pictures/<name>", profile.PictureFile, anyone, limits.FREE),
    # Second factors
    ("GET", "/mfa", mfa.Mfa, signed_in, None),
    ("POST", "/mfa", mfa.Mfa, recently_signed_in, None),
    ("DELETE", "/mfa", mfa.Mfa, recently_signed_in, None),
    ("PATCH", "/mfa/<id>", mfa.MfaFactor, recently_signed_in, None),
    ("DELETE", "/mfa/<id>", mfa.MfaFactor, recently_signed_in, None),
    ("POST", "/mfa/recovery-codes", mfa.RecoveryCodes, recently_signed_in, None),
    ("POST", "/send-otp", otp.SendOtp, perhaps_signed_in, limits.SEND_OTP),
    ("POST", "/verify-otp", otp.VerifyOtp, anyone, limits.VERIFY_OTP),
    ("POST", "/reauthenticate", auth.Reauthenticate, signed_in, None),
    # Social sign-in
    ("GET", "/auth/<provider> /api/oauth/<provider>", google_auth.SocialStart, anyone, None),
    ("GET", "/auth/<provider>/auth-url", google_auth.SocialAuthUrl, anyone, None),
    (
        "GET",
        "/auth/<provider>/callback /api/oauth/<provider>/callback /auth/<provider>/login/callback",
        google_auth.SocialCallback,
        anyone,
        None,
    ),
    ("POST", "/auth/exchange", google_auth.SocialExchange, anyone, limits.EXCHANGE),
    ("GET", "/profile/identities", google_auth.Identities, signed_in, None),
    ("POST", "/profile/identities/<provider>", google_auth.ProviderIdentity, recently_signed_in, None),
    ("DELETE", "/profile/identities/<provider>", google_auth.ProviderIdentity, recently_signed_in, None),
    # Running it
    ("GET", "/healthz", health.Alive, anyone, limits.FREE),
    ("GET", "/readyz", health.Ready, anyone, limits.FREE),
    ("GET", "/metrics", metrics.Metrics, scraping, limits.FREE),
    ("GET", "/openapi.json", openapi.OpenApi, anyone, limits.FREE),
    ("GET", "/docs", docs.Docs, anyone, limits.FREE),
    ("GET", "/docs/<name>", docs.DocsFile, anyone, limits.FREE),
)

ROUTES = tuple(Route(method, tuple(urls.split()), resource, rule, limit) for method, urls, resource, rule, limit in TABLE)
