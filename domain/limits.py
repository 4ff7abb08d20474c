"""Every limit on one page, each with its sentence. A row of the routes table names one of these.

`None` in the table: only the general limits apply (RATE_LIMIT_ANONYMOUS by address without a valid credential,
RATE_LIMIT_REQUESTS by user with one). A name: RATE_LIMIT_SENSITIVE by address besides, one budget for all rows of that
name. FREE: not counted at all.
"""

FREE = "free"  # Health, documents, pictures, and what a page asks all the time.

LOGIN = "login"  # Guessing passwords of many accounts from one address.
SEND_OTP = "send-otp"  # Filling mailboxes with codes.
VERIFY_OTP = "verify-otp"  # Guessing codes.
ENROL = "enrol"  # On the way in: having codes sent, and guessing them.
PASSKEY = "passkey"  # Guessing passkeys, and the work of verifying them.
EXCHANGE = "exchange"  # Guessing the one-time code of a provider's hand-over.
RESEND = "resend-confirmation"  # Filling mailboxes with confirmations.
FORGOT = "forgot-password"  # Filling mailboxes with resets.
CONFIRM = "confirm"  # Guessing confirmation links and codes.
RESET = "reset-password"  # Guessing reset links.
CAPTCHA = "captcha"  # Having puzzles made, to solve them in advance.

BODY_BYTES = 64 * 1024  # No JSON body that we know comes near it; parsing more would only serve an attacker.
PICTURE_BYTES = 16 * 1024 * 1024  # One picture, as it is uploaded.
CAPTCHA_ANSWER = 8192  # Characters; the longest that we know of have half as many.
HEADER_TOKEN_BYTES = 8 * 1024  # No token of ours comes near it; longer ones are refused unread.
ROLES_CLAIM_BYTES = 2048  # In a token; with more it would not fit into a cookie (4096), and the claim is left out.
ROLE_PERMISSIONS = 500  # Of one role.
SIGN_UP_ATTEMPTS = 3  # Open attempts per address; the newest replaces the oldest.
CODE_TRIES = 5  # Wrong tries at one mailed code.
FIRST_PAUSE_SECONDS = 60  # After FAILED_ATTEMPTS_LIMIT failures; doubles with every further round.
LONGEST_PAUSE_SECONDS = 3600  # The doubling stops here.
FAILURES_IN_A_ROW = 100  # Then strangers stay out until a reset or an unlock (NIST SP 800-63B 5.2.2).
PASSWORD_MAX_LENGTH = 256  # Code points; more only costs time.
RECOVERY_CODES = 10  # In one set.
REMEDY_SECONDS = 7 * 86400  # Life of the links by which an owner undoes what somebody else did.
EXCHANGE_SECONDS = 60  # Life of the one-time code that a provider's callback hands to the front end.
PASSKEYS = 20  # Of one account.
CEREMONY_SECONDS = 600  # Time to answer with a passkey: the longer end of what W3C WebAuthn 3 (15.1) recommends.
SOCIAL_FLOW_SECONDS = 600  # Time to come back from a provider.
DEVICES = 50  # Known clients of one user; the one that was used least lately goes.
DEVICE_DAYS = 365  # How long a client stays known.
PICTURE_SECONDS = 5  # Of the processor, to decode one; a file of 100 kB can be made to take minutes.
LIST_ROWS, MOST_LIST_ROWS = 50, 200  # Of a list by cursor, in one answer: unless more are asked for, and at most.
METADATA_BYTES = 16 * 1024  # A profile's own metadata, as JSON.
METADATA_DEPTH = 8  # Objects and lists in one another; deeper ones are made to break parsers.
PICTURE_PIXELS = 25_000_000  # More than any camera's picture needs to be shown small; above it lie decompression bombs.
