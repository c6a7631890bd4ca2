# A static binary in an image that holds nothing else.
#
#   docker build -t understudy .
#   docker run --rm -p 8080:8080 -v understudy:/data understudy serve --base-url http://localhost:8080
#
# Verbs talk to the server inside the container, where its admin listener is:
#
#   docker exec CONTAINER /understudy device list
ARG GO_IMAGE=docker.io/library/golang:1.26

FROM ${GO_IMAGE} AS build
ENV CGO_ENABLED=0
# The owner and the mode of /data come from here: scratch cannot make a directory.
WORKDIR /data
WORKDIR /src
COPY go.mod go.sum ./
RUN ["go", "mod", "download"]
COPY . .
RUN ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", "/out/understudy", "./cmd/understudy"]

FROM scratch
COPY --from=build /out/understudy /understudy
COPY --from=build --chown=65532:65532 /data /data
# A server that listens beyond loopback wants to be told --base-url.
ENV UNDERSTUDY_DATA=/data UNDERSTUDY_LISTEN=:8080
VOLUME /data
EXPOSE 8080
USER 65532:65532
ENTRYPOINT ["/understudy"]
CMD ["serve"]
