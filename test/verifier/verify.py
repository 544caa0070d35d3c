import sys
import jwt  # PyJWT with `cryptography`

jwks_url, issuer, audience, token = sys.argv[1:]
keys = jwt.PyJWKClient(jwks_url)


def verify(token):
    if jwt.get_unverified_header(token).get("typ") != "at+jwt":  # RFC 9068, section 4
        raise jwt.InvalidTokenError("not an access token")
    key = keys.get_signing_key_from_jwt(token).key
    required = ["exp", "iat", "sub", "sid", "jti", "client_id", "role"]
    return jwt.decode(token, key, algorithms=["ES256"], issuer=issuer, audience=audience,
                      leeway=30, options={"require": required})


print(verify(token)["sub"])
