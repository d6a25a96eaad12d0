# One static binary in an empty image, as a user without rights.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=dev
ARG COMMIT=unknown
RUN CGO_ENABLED=0 go build -trimpath -tags gosnmp_nodebug \
      -ldflags "-s -w -X main.version=${VERSION} -X main.commit=${COMMIT}" \
      -o /out/pilotlight ./cmd/pilotlight \
 && mkdir -p /out/data && chown 65532:65532 /out/data && chmod 0700 /out/data

FROM scratch
COPY --from=build /out/pilotlight /pilotlight
COPY --from=build --chown=65532:65532 /out/data /var/lib/pilotlight
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
USER 65532:65532
VOLUME /var/lib/pilotlight
ENTRYPOINT ["/pilotlight"]
CMD ["run", "--config", "/etc/pilotlight/pilotlight.yaml"]
