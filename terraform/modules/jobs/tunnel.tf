# A task that does nothing for an hour, through which Session Manager forwards a port to MLflow: docs/aws-operate.md.
data "aws_iam_policy_document" "tunnel" {
  #checkov:skip=CKV_AWS_356:Session Manager's four actions know no resource
  #checkov:skip=CKV_AWS_111:Session Manager's four actions know no resource
  statement {
    sid = "Session"
    actions = [
      "ssmmessages:CreateControlChannel", "ssmmessages:CreateDataChannel",
      "ssmmessages:OpenControlChannel", "ssmmessages:OpenDataChannel",
    ]
    resources = ["*"]
  }
}

module "tunnel_role" {
  source   = "../role"
  count    = var.tunnel ? 1 : 0
  context  = var.context
  name     = "tunnel"
  service  = "ecs-tasks.amazonaws.com"
  policies = { session = data.aws_iam_policy_document.tunnel.json }
}

module "tunnel_execution" {
  source         = "../execution_role"
  count          = var.tunnel ? 1 : 0
  context        = var.context
  name           = "tunnel"
  repository_arn = var.images.gateway.repository_arn
  log_group_arn  = aws_cloudwatch_log_group.jobs.arn
  key_arn        = var.key_arn
}

module "tunnel_task" {
  source             = "../task"
  count              = var.tunnel ? 1 : 0
  context            = var.context
  job                = "tunnel"
  image              = var.images.gateway.uri
  size               = { cpu = 256, memory = 512 }
  entry_point        = ["sleep"]
  command            = ["3600"]
  environment        = {}
  task_role_arn      = module.tunnel_role[0].arn
  execution_role_arn = module.tunnel_execution[0].arn
  log_group          = aws_cloudwatch_log_group.jobs.name
  read_only          = false
}
