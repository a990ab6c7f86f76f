# AWS's services inside the network. Without policies of their own, endpoints would carry data to any account: stolen
# credentials of another account, or a bucket of another account, would be a way out.
locals {
  services = concat(
    ["ecr.api", "ecr.dkr", "logs", "secretsmanager"],
    var.tunnel ? ["ssmmessages"] : [],
    var.apprunner_entrance ? ["apprunner.requests"] : [],
  )
  # the services whose every request names a resource of one account
  resource_services = ["logs", "secretsmanager"]
  s3_arn            = "arn:${var.context.partition}:s3:::"
}

data "aws_iam_policy_document" "endpoint" {
  #checkov:skip=CKV_AWS_283:the condition limits the callers to this account
  #checkov:skip=CKV_AWS_356:an endpoint's policy only limits; what a caller may do is its role's matter
  #checkov:skip=CKV_AWS_111:an endpoint's policy only limits; what a caller may do is its role's matter
  #checkov:skip=CKV_AWS_109:an endpoint's policy only limits; what a caller may do is its role's matter
  #checkov:skip=CKV_AWS_107:an endpoint's policy only limits; what a caller may do is its role's matter
  #checkov:skip=CKV_AWS_108:an endpoint's policy only limits; what a caller may do is its role's matter
  #checkov:skip=CKV2_AWS_40:an endpoint's policy only limits; what a caller may do is its role's matter
  for_each = toset(["ecr.api", "ecr.dkr", "logs", "secretsmanager", "ssmmessages"])
  statement {
    sid       = "ThisAccountsProcesses"
    actions   = ["${split(".", each.key)[0]}:*"]
    resources = ["*"]
    principals {
      type        = "AWS"
      identifiers = ["*"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:PrincipalAccount"
      values   = [var.context.account_id]
    }
    dynamic "condition" {
      for_each = contains(local.resource_services, each.key) ? [1] : []
      content {
        test     = "StringEquals"
        variable = "aws:ResourceAccount"
        values   = [var.context.account_id]
      }
    }
  }
}

data "aws_iam_policy_document" "s3_endpoint" {
  #checkov:skip=CKV_AWS_283:buckets are named, and their own policies and roles say who may what
  statement {
    sid       = "OwnBuckets"
    actions   = ["s3:*"]
    resources = ["${local.s3_arn}${local.name}-*", "${local.s3_arn}${local.name}-*/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
    # a bucket's name is no proof of whose it is
    condition {
      test     = "StringEquals"
      variable = "aws:ResourceAccount"
      values   = [var.context.account_id]
    }
  }
  dynamic "statement" {
    for_each = length(var.training_buckets) > 0 ? [1] : []
    content {
      sid     = "TrainingData"
      actions = ["s3:GetObject", "s3:ListBucket"]
      resources = flatten([
        for bucket in var.training_buckets : ["${local.s3_arn}${bucket}", "${local.s3_arn}${bucket}/*"]
      ])
      principals {
        type        = "*"
        identifiers = ["*"]
      }
    }
  }
  # ECR keeps the layers of images in buckets of its own, which it signs the addresses of
  statement {
    sid       = "LayersOfImages"
    actions   = ["s3:GetObject"]
    resources = ["${local.s3_arn}prod-${var.context.region}-starport-layer-bucket/*"]
    principals {
      type        = "*"
      identifiers = ["*"]
    }
  }
}

resource "aws_vpc_endpoint" "s3" {
  vpc_id          = aws_vpc.platform.id
  service_name    = "com.amazonaws.${var.context.region}.s3"
  route_table_ids = [aws_route_table.private.id]
  policy          = data.aws_iam_policy_document.s3_endpoint.json
}

resource "aws_vpc_endpoint" "service" {
  for_each            = toset(local.services)
  vpc_id              = aws_vpc.platform.id
  service_name        = "com.amazonaws.${var.context.region}.${each.value}"
  vpc_endpoint_type   = "Interface"
  private_dns_enabled = each.value != "apprunner.requests"
  subnet_ids          = [for subnet in aws_subnet.private : subnet.id]
  security_group_ids  = [aws_security_group.member[each.value == "apprunner.requests" ? "entrance" : "endpoints"].id]
  # App Runner's request endpoint takes no policy: clients authenticate with API keys
  policy = each.value == "apprunner.requests" ? null : data.aws_iam_policy_document.endpoint[each.value].json
}
