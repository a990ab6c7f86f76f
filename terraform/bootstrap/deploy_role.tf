locals {
  names = values(var.environments)
  ecs   = "${local.prefix}:ecs:${var.region}:${local.account}"
  # what the gateway's two roles may be handed to
  gateway_services = [
    "apprunner.amazonaws.com", "build.apprunner.amazonaws.com", "tasks.apprunner.amazonaws.com",
    "ecs-tasks.amazonaws.com",
  ]
}

# Push images, exchange the gateway's image in this account's environments, hand over the gateway's two roles.
data "aws_iam_policy_document" "deploy" {
  #checkov:skip=CKV_AWS_356:these actions know no resource; the others below name theirs
  statement {
    sid = "KnowNoResource"
    actions = [
      "ecr:GetAuthorizationToken",
      "ecs:DescribeTaskDefinition",
      "ecs:ListTaskDefinitions",
      "elasticloadbalancing:DescribeTargetHealth",
      "apprunner:ListServices",
    ]
    resources = ["*"]
  }
  statement {
    sid = "Push"
    actions = [
      "ecr:BatchCheckLayerAvailability",
      "ecr:BatchGetImage",
      "ecr:CompleteLayerUpload",
      "ecr:DescribeImages",
      "ecr:GetDownloadUrlForLayer",
      "ecr:InitiateLayerUpload",
      "ecr:PutImage",
      "ecr:UploadLayerPart",
    ]
    resources = [for repository in aws_ecr_repository.image : repository.arn]
  }
  statement {
    sid     = "DeployOnAppRunner"
    actions = ["apprunner:DescribeService", "apprunner:UpdateService", "apprunner:StartDeployment"]
    resources = [
      for name in local.names : "${local.prefix}:apprunner:${var.region}:${local.account}:service/${name}-api/*"
    ]
  }
  statement {
    sid       = "DeployOnEcs"
    actions   = ["ecs:DescribeServices", "ecs:UpdateService"]
    resources = [for name in local.names : "${local.ecs}:service/${name}/${name}-api"]
  }
  statement {
    sid     = "SeeTasksOnEcs"
    actions = ["ecs:DescribeTasks", "ecs:ListTasks"]
    resources = flatten([
      for name in local.names : ["${local.ecs}:task/${name}/*", "${local.ecs}:container-instance/${name}/*"]
    ])
  }
  statement {
    sid     = "HandOverTheGatewaysRoles"
    actions = ["iam:PassRole"]
    resources = flatten([for name in local.names : [
      "${local.prefix}:iam::${local.account}:role/${name}-gateway",
      "${local.prefix}:iam::${local.account}:role/${name}-gateway-execution",
    ]])
    condition {
      test     = "StringEquals"
      variable = "iam:PassedToService"
      values   = local.gateway_services
    }
  }
}

resource "aws_iam_role_policy" "deploy" {
  name   = "deploy"
  role   = aws_iam_role.github["deploy"].id
  policy = data.aws_iam_policy_document.deploy.json
}
