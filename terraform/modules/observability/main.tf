# The searches that people come back to. Alarms, dashboard and budget have files of their own.
locals {
  name = var.context.name
  searches = {
    "errors"             = "filter level = \"ERROR\""
    "warnings"           = "filter level = \"WARNING\""
    "slower than 100 ms" = "filter latency_ms > 100 | sort latency_ms desc"
    "models gone live" = join(" | ", [
      "filter message = \"model swapped\"", "display @timestamp, model_version, digest, named_by, load_ms",
    ])
    "declined" = "filter decision = \"DECLINE\" | display @timestamp, request_id, fraud_score, latency_ms"
  }
}

resource "aws_cloudwatch_query_definition" "search" {
  for_each        = local.searches
  name            = "${local.name}/${each.key}"
  log_group_names = [var.gateway.log_group]
  query_string = join(" | ", [
    "fields @timestamp, level, message, request_id, latency_ms, fraud_score, decision", each.value, "limit 200",
  ])
}
