# Copy to production.tfvars, which git ignores. Certificates and digests are yours.
compute = "apprunner"

image_digests = {
  gateway   = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  pipelines = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
  mlflow    = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
}

mlflow_tls = {
  certificate_arn = "arn:aws:acm:eu-west-3:ACCOUNT:certificate/ID"
  hostname        = "mlflow.fraud.example.com"
}

# compute = "ecs_fargate" needs this one too:
# gateway_tls = {
#   certificate_arn = "arn:aws:acm:eu-west-3:ACCOUNT:certificate/ID"
#   hostname        = "fraud.example.com"
# }

alarm_emails   = ["fraud-platform@example.com"]
monthly_budget = 400
