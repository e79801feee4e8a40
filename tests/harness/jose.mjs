// An issuer by the real `jose`: it publishes its keys, prints where and what it signed as one line
// of JSON, and ends when its input does.
import { createServer } from 'node:http';
import { SignJWT, exportJWK, exportSPKI, generateKeyPair } from 'jose';

const tokens = {};
const keys = [];

const claims = (jwt) => jwt
  .setIssuer('https://issuer.example/')
  .setAudience(['gatehouse', 'others'])
  .setSubject('jose')
  .setIssuedAt()
  .setNotBefore('0s')
  .setExpirationTime('10m');

const payload = { tenant_id: 'acme', scope: 'images:read images:write' };

for (const alg of ['RS256', 'PS256', 'ES256', 'EdDSA']) {
  const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
  const kid = `jose-${alg}`;
  keys.push({ ...(await exportJWK(publicKey)), kid, alg, use: 'sig' });
  tokens[alg] = await claims(new SignJWT(payload)).setProtectedHeader({ alg, kid, typ: 'at+jwt' }).sign(privateKey);
  if (alg === 'RS256') {
    const pem = new TextEncoder().encode(await exportSPKI(publicKey));
    tokens.confused = await claims(new SignJWT(payload)).setProtectedHeader({ alg: 'HS256', kid }).sign(pem);
    tokens.critical = await claims(new SignJWT(payload))
      .setProtectedHeader({ alg, kid, crit: ['b64'], b64: true }).sign(privateKey);
  }
}
const secret = new TextEncoder().encode('0123456789abcdef0123456789abcdef');
tokens.HS256 = await claims(new SignJWT(payload)).setProtectedHeader({ alg: 'HS256' }).sign(secret);

const server = createServer((request, response) => {
  response.setHeader('content-type', 'application/jwk-set+json');
  response.setHeader('cache-control', 'public, max-age=600');
  response.end(JSON.stringify({ keys }));
});
server.listen(0, '127.0.0.1', () => {
  const url = `http://127.0.0.1:${server.address().port}/jwks`;
  console.log(JSON.stringify({ url, tokens }));
});
process.stdin.on('end', () => process.exit(0)).resume();
