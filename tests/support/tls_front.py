"""Takes TLS connections on a free port of loopback and hands what comes through them to a plain server.

    tls_front.py CERTIFICATE KEY HOST PORT

Prints its port, and ends with its standard input.
"""

import asyncio
import ssl
import sys

certificate, key, host, port = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)


async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve(reader, writer):
    plain_reader, plain_writer = await asyncio.open_connection(host, int(port))
    await asyncio.gather(copy(reader, plain_writer), copy(plain_reader, writer))


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


asyncio.run(main())
